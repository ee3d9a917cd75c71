"""Pages and pictures of pages."""
