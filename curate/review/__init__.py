"""Rounds of review in Label Studio: plan and state (pure), shapes (pure), agreement (pure), and the server."""
