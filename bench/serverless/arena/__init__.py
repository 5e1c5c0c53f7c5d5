"""The policy benchmark: the engine's own scaling and routing code beside its peers' rules."""
