"""Built-in features; each is a plugin of the public contract."""
