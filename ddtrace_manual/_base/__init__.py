"""Ground floor: clock, context, errors, ids, log and tag names."""
