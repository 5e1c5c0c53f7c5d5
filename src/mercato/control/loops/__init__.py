"""The reconcilers, one file each, all of the same shape."""
