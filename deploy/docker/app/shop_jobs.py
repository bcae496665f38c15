"""A module with a handler, for compose.yaml; yours takes its place."""

from soniq import Soniq

app = Soniq()


@app.job(queue="mail")
async def send_welcome(to: str) -> dict[str, str]:
    """What it returns is kept with the finished job."""
    return {"greeted": to}
