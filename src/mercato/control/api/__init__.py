"""HTTP: parse, authorize, call one flow, answer."""
