"""A handbag of small, pure helper functions; see the modules."""
