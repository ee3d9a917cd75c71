"""Publish posts: one package for each service, one protocol for all, and a stand-in for Instagram for rehearsals."""
