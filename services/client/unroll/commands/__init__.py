"""The commands, one file a family; `register(app)` adds them. A command loads httpx and Rich when it runs."""
