"""All that knows Paddle: signatures, notifications, its API. The rest of billing sees facts."""
