"""Settings: what an operator may choose, read whole and validated whole before anything starts."""

from gateway.settings.faults import Fault, SettingsInvalid
from gateway.settings.load import load_settings
from gateway.settings.models import Region, Settings
from gateway.settings.routes import Route

__all__ = ["Fault", "Region", "Route", "Settings", "SettingsInvalid", "load_settings"]
