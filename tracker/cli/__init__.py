"""The command line: one file per noun over the same readers that the SDK uses. The only part that prints."""
