"""Jobs, data set ownership and keys in Redis. The only package that imports redis."""
