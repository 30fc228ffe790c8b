"""The only wiring of the parts, and the only global state."""
