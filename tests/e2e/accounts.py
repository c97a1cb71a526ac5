"""Accounts on a running service, for the tests that need somebody."""

from uuid import uuid4

import httpx

from tests.e2e.conftest import Service

PASSWORD = "correct horse battery"


def token_of_new_user(service: Service, *, is_admin: bool = False) -> str:
    """The JWT of a user registered now under a new name."""
    name = uuid4().hex
    admin_token = {"Authorization": f"Bearer {service.admin_token}"}
    user = {"username": name, "password": PASSWORD, "is_admin": is_admin}
    registered = httpx.post(f"{service.url}/register", json=user, headers=admin_token if is_admin else {})
    assert registered.status_code == 201, registered.text
    signed_in = httpx.post(f"{service.url}/token", data={"username": name, "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    return str(signed_in.json()["access_token"])
