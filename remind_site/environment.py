"""The environment variables that settings are read from, for Django and gunicorn alike.

A file named `.env` beside `manage.py` is read too; a variable that is really set wins over it. A blank one counts
as missing, as hosts like to set them.
"""

from pathlib import Path
from typing import Any

from environs import Env

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(Env):
    """environs' reader, for which a blank variable is a missing one."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        value = super()._get_value(env_key, default)
        return default if isinstance(value, str) and not value.strip() else value

    def names(self, name: str, default: list[str]) -> list[str]:
        """Comma-separated names, without the blanks around them."""
        return [part.strip() for part in self.list(name, default) if part.strip()]


env = Environment()
env.read_env(str(BASE_DIR / ".env"), recurse=False)
