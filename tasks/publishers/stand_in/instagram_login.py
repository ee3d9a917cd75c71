"""Serve the app's login, as instagrapi does it: device, key, password, and a two-factor code if the account has one."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import struct
import time
from typing import Any

from tasks.publishers.stand_in.faults import Answer
from tasks.publishers.stand_in.request import Endpoint, Request, as_json
from tasks.publishers.stand_in.state import Account, State

OK_STATUS = {"status": "ok"}
KEY_ID = 41
CODE_SECONDS = 30  # validity of a two-factor code; the codes before and after are accepted as well


def _register_device(state: State, request: Request) -> Answer:
    return as_json(200, {"data": {"xfb_usdid_registration": {"success": True}}, **OK_STATUS})


def _create_keystore(state: State, request: Request) -> Answer:
    return as_json(200, {"challenge_nonce": "nonce", "key_nonce": "nonce", **OK_STATUS})


def _send_public_key(state: State, request: Request) -> Answer:
    public = base64.b64encode(_server_key().public_key().export_key()).decode()
    names = ("ig-set-password-encryption-key-id", "ig-set-password-encryption-pub-key")
    return as_json(200, OK_STATUS, tuple(zip(names, (str(KEY_ID), public), strict=True)))


def _send_home_page(state: State, request: Request) -> Answer:
    context = {"key": "CAA_ACCOUNT_ACCESS_CONTEXT:aac", "initial": "access-context"}
    return as_json(200, {"layout": {"bloks_payload": {"data": [{"data": context}]}}, **OK_STATUS})


def _answer_ok(state: State, request: Request) -> Answer:
    return as_json(200, OK_STATUS)


def _send_login(state: State, request: Request) -> Answer:
    params = _request_params(request)["client_input_params"]
    account = state.accounts.get(str(params["contact_point"]))
    if account is None or not account.password or _decrypt_password(str(params["password"])) != account.password:
        return as_json(200, {"layout": {"bloks_payload": {"action": "(dialog)"}}, **OK_STATUS})
    if account.totp:
        context = base64.b64encode(account.name.encode()).decode()
        return as_json(200, {"two_step_verification_context": context, "layout": {"bloks_payload": {}}, **OK_STATUS})
    return _session_answer(state, account)


def _verify_code(state: State, request: Request) -> Answer:
    params = _request_params(request)
    name = base64.b64decode(params["server_params"]["two_step_verification_context"]).decode()
    account, code = state.accounts[name], str(params["client_input_params"]["code"])
    now = int(time.time()) // CODE_SECONDS
    if not any(hmac.compare_digest(code, _two_factor_code(account.totp, now + step)) for step in (-1, 0, 1)):
        return as_json(400, {"message": "That code isn't valid.", "error_type": "invalid_code", "status": "fail"})
    return _session_answer(state, account)


def _session_answer(state: State, account: Account) -> Answer:
    """Return the answer with a new session, wrapped as the app expects it."""
    session = {"ds_user_id": account.user_id, "sessionid": state.open_session(account)}
    bearer = "Bearer IGT:2:" + base64.b64encode(json.dumps(session).encode()).decode()
    user = json.dumps({"logged_in_user": {"pk": account.user_id, "username": account.name}, **OK_STATUS})
    inner = json.dumps({"login_response": user, "headers": json.dumps({"IG-Set-Authorization": bearer}), "cookies": ""})
    return as_json(200, {"layout": {"bloks_payload": {"action": f"(login {json.dumps(inner)})"}}, **OK_STATUS})


def _request_params(request: Request) -> dict[str, Any]:
    return dict(json.loads(request.form_fields()["params"]))


@functools.cache
def _server_key() -> Any:
    from Cryptodome.PublicKey import RSA

    return RSA.generate(1024)  # small: enough for a stand-in, and quick to make


def _decrypt_password(sealed: str) -> str:
    """Decrypt a password as the app encrypts it: with a new AES key, which is encrypted with the server's RSA key."""
    from Cryptodome.Cipher import AES, PKCS1_v1_5

    try:
        _, _, stamp, coded = sealed.split(":", 3)
        data = base64.b64decode(coded)
        length = struct.unpack("<H", data[14:16])[0]
        key = PKCS1_v1_5.new(_server_key()).decrypt(data[16 : 16 + length], b"")
        cipher = AES.new(key, AES.MODE_GCM, data[2:14])
        cipher.update(stamp.encode())
        tag, text = data[16 + length : 32 + length], data[32 + length :]
        return cipher.decrypt_and_verify(text, tag).decode()
    except ValueError:
        return ""


def _two_factor_code(seed: str, step: int) -> str:
    """Return the two-factor code of a time step (RFC 6238)."""
    key = base64.b32decode(seed + "=" * (-len(seed) % 8), casefold=True)
    digest = hmac.digest(key, struct.pack(">Q", step), hashlib.sha1)
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


BLOKS = r"/api/v1/bloks/async_action/com\.bloks\.www\."
ENDPOINTS = (
    Endpoint("login device", "POST", r"/graphql_www", _register_device),
    Endpoint("login device", "POST", r"/api/v1/attestation/create_android_keystore/", _create_keystore),
    Endpoint("login key", "GET", r"/api/v1/qe/sync/", _send_public_key),
    Endpoint("login home", "POST", BLOKS + r"bloks\.caa\.login\.process_client_data_and_redirect/", _send_home_page),
    Endpoint("login", "POST", BLOKS + r"bloks\.caa\.login\.async\.send_login_request/", _send_login),
    Endpoint("login code", "POST", BLOKS + r"two_step_verification\.verify_code\.async/", _verify_code),
    Endpoint("login step", "POST", r"/api/v1/bloks/(async_action|apps)/[\w.]+/", _answer_ok),
    Endpoint("login after", "POST", r"/api/v1/feed/(reels_tray|timeline)/", _answer_ok),
)
