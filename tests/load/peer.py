"""LiteLLM's proxy, as one would run it in production without a database: an environment of its own, pinned.

It does less than the service: it knows no licenses, no quota and no ledger here, counts no limits, and keeps nothing.
What both do is take a request over HTTP, check a key, ask the provider through OpenAI's client, and pass on the answer.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT
from tests.load.client import Job
from tests.load.world import World, answers
from tests.service import free_port, wait_until

ENVIRONMENT = ROOT / ".venv-peers"
PINS = Path(__file__).with_name("peer-requirements.txt")
KEY = "sk-for-the-benchmark-only"
STARTS_WITHIN = 120.0  # seconds; it imports much
CONFIG = """
model_list:
  - model_name: gpt-5-nano
    litellm_params: {{model: openai/gpt-5-nano, api_base: "{provider}", api_key: sk-load}}
general_settings: {{master_key: {key}}}
litellm_settings: {{set_verbose: false, json_logs: true, request_timeout: 60, telemetry: false, num_retries: 0}}
"""
# Its own advice for production, and nothing that asks the network at its start.
SETTINGS = {
    "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False", "NO_DOCS": "True",
}  # fmt: skip
BODY = """{"model": "gpt-5-nano", "messages": [
 {"role": "system", "content": "Turn a rough reminder into a better one."},
 {"role": "user", "content": "{\\"reminder\\": \\"meeting with John tomorrow 2pm re Q1\\"}"}]}"""


def install() -> None:
    """Make its environment where it is not there, or is not of these pins."""
    stamp = ENVIRONMENT / "pins"
    if stamp.exists() and stamp.read_text() == PINS.read_text():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    pip = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", PINS]
    subprocess.run(pip, check=True)
    stamp.write_text(PINS.read_text())


def start(world: World) -> tuple[int, int]:
    """Its port, and the pid of its first process."""
    config, port = world.folder / "litellm.yaml", free_port()
    config.write_text(CONFIG.format(provider=world.provider.url, key=KEY))
    process = world.start(
        [ENVIRONMENT / "bin" / "litellm", "--config", config, "--host", "127.0.0.1", "--port", str(port),
         "--num_workers", "2"],
        "litellm",
        PATH=f"{ENVIRONMENT / 'bin'}:/usr/bin:/bin",
        **SETTINGS,
    )  # fmt: skip
    wait_until(lambda: process.poll() is not None or answers(port), STARTS_WITHIN, "LiteLLM's proxy to start")
    if process.poll() is not None:
        raise RuntimeError((world.folder / "litellm.log").read_text()[-3000:])
    return port, process.pid


def job(port: int, connections: int, seconds: float) -> Job:
    """The same question as the service asks, put to the proxy."""
    return Job(port, "/v1/chat/completions", connections, seconds, [KEY], BODY, '"choices"')


def version() -> str:
    pinned = next(line for line in PINS.read_text().splitlines() if line.startswith("litellm=="))
    return f"LiteLLM {pinned.removeprefix('litellm==')}"
