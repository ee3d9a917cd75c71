"""Where posts go: one module a place, one manner for all of them, and a stand-in for Instagram to rehearse with."""
