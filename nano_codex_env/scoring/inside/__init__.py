"""Scripts that run inside the boxes; they import nothing else of this package."""
