"""Write openapi/control.json from the table of routes."""

from pathlib import Path

from mercato.control.api import openapi
from mercato.control.api.routes import ROUTES

target = Path(__file__).parents[1] / "openapi" / "control.json"
target.write_bytes(openapi.encoded(ROUTES))
print(f"wrote {target} with {len(ROUTES)} routes")
