"""How the app logs in, as instagrapi does it: device, key, password, and a two-factor code where the account has one."""

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

OK = {"status": "ok"}
KEY_ID = 41
WINDOW = 30  # seconds that a two-factor code is good for; its neighbours are taken as well


def _device(state: State, request: Request) -> Answer:
    return as_json(200, {"data": {"xfb_usdid_registration": {"success": True}}, **OK})


def _keystore(state: State, request: Request) -> Answer:
    return as_json(200, {"challenge_nonce": "nonce", "key_nonce": "nonce", **OK})


def _key(state: State, request: Request) -> Answer:
    public = base64.b64encode(_rsa().public_key().export_key()).decode()
    names = ("ig-set-password-encryption-key-id", "ig-set-password-encryption-pub-key")
    return as_json(200, OK, tuple(zip(names, (str(KEY_ID), public), strict=True)))


def _homepage(state: State, request: Request) -> Answer:
    told = {"key": "CAA_ACCOUNT_ACCESS_CONTEXT:aac", "initial": "access-context"}
    return as_json(200, {"layout": {"bloks_payload": {"data": [{"data": told}]}}, **OK})


def _fine(state: State, request: Request) -> Answer:
    return as_json(200, OK)


def _send_login(state: State, request: Request) -> Answer:
    told = _params(request)["client_input_params"]
    account = state.accounts.get(str(told["contact_point"]))
    if account is None or not account.password or _decrypted(str(told["password"])) != account.password:
        return as_json(200, {"layout": {"bloks_payload": {"action": "(dialog)"}}, **OK})
    if account.totp:
        context = base64.b64encode(account.name.encode()).decode()
        return as_json(200, {"two_step_verification_context": context, "layout": {"bloks_payload": {}}, **OK})
    return _opened(state, account)


def _verify_code(state: State, request: Request) -> Answer:
    told = _params(request)
    name = base64.b64decode(told["server_params"]["two_step_verification_context"]).decode()
    account, code = state.accounts[name], str(told["client_input_params"]["code"])
    now = int(time.time()) // WINDOW
    if not any(hmac.compare_digest(code, _code(account.totp, now + step)) for step in (-1, 0, 1)):
        return as_json(400, {"message": "That code isn't valid.", "error_type": "invalid_code", "status": "fail"})
    return _opened(state, account)


def _opened(state: State, account: Account) -> Answer:
    """The answer that carries a session, wrapped the way the app gets it."""
    told = {"ds_user_id": account.user_id, "sessionid": state.open_session(account)}
    bearer = "Bearer IGT:2:" + base64.b64encode(json.dumps(told).encode()).decode()
    user = json.dumps({"logged_in_user": {"pk": account.user_id, "username": account.name}, **OK})
    inner = json.dumps({"login_response": user, "headers": json.dumps({"IG-Set-Authorization": bearer}), "cookies": ""})
    return as_json(200, {"layout": {"bloks_payload": {"action": f"(login {json.dumps(inner)})"}}, **OK})


def _params(request: Request) -> dict[str, Any]:
    return dict(json.loads(request.form()["params"]))


@functools.cache
def _rsa() -> Any:
    from Cryptodome.PublicKey import RSA

    return RSA.generate(1024)  # as good as a stand-in needs, and quickly made


def _decrypted(sealed: str) -> str:
    """The password, as the app seals it: a fresh AES key under the server's RSA key."""
    from Cryptodome.Cipher import AES, PKCS1_v1_5

    try:
        _, _, stamp, coded = sealed.split(":", 3)
        data = base64.b64decode(coded)
        length = struct.unpack("<H", data[14:16])[0]
        key = PKCS1_v1_5.new(_rsa()).decrypt(data[16 : 16 + length], b"")
        cipher = AES.new(key, AES.MODE_GCM, data[2:14])
        cipher.update(stamp.encode())
        tag, text = data[16 + length : 32 + length], data[32 + length :]
        return cipher.decrypt_and_verify(text, tag).decode()
    except ValueError:
        return ""


def _code(seed: str, step: int) -> str:
    """The two-factor code of a window of time (RFC 6238)."""
    key = base64.b32decode(seed + "=" * (-len(seed) % 8), casefold=True)
    digest = hmac.digest(key, struct.pack(">Q", step), hashlib.sha1)
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


BLOKS = r"/api/v1/bloks/async_action/com\.bloks\.www\."
ENDPOINTS = (
    Endpoint("login device", "POST", r"/graphql_www", _device),
    Endpoint("login device", "POST", r"/api/v1/attestation/create_android_keystore/", _keystore),
    Endpoint("login key", "GET", r"/api/v1/qe/sync/", _key),
    Endpoint("login home", "POST", BLOKS + r"bloks\.caa\.login\.process_client_data_and_redirect/", _homepage),
    Endpoint("login", "POST", BLOKS + r"bloks\.caa\.login\.async\.send_login_request/", _send_login),
    Endpoint("login code", "POST", BLOKS + r"two_step_verification\.verify_code\.async/", _verify_code),
    Endpoint("login step", "POST", r"/api/v1/bloks/(async_action|apps)/[\w.]+/", _fine),
    Endpoint("login after", "POST", r"/api/v1/feed/(reels_tray|timeline)/", _fine),
)
