"""How every law is tried: a case may take its time, for the machine may be busy."""

from hypothesis import HealthCheck, settings

settings.register_profile("mercato", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mercato")
