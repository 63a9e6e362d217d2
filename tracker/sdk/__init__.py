"""ClearML's names over the tracker's parts. Thin: a body is one call to a part."""
