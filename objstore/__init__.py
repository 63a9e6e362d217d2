"""A content-addressed store in plain files: bytes, ids, packs and heads. It knows nothing of experiments."""
