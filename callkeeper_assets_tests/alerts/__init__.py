"""Alerts: what is found, told once, and delivered to real receivers over HTTP and SMTP."""
