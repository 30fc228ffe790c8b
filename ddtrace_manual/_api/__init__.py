"""What users call: spans, the current span, headers and baggage."""
