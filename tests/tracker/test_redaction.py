"""Secrets: fifty shapes with none left, names that tell, and what only looks alike."""

from __future__ import annotations

import random
import string
import time

import pytest

from tracker.redaction import Lines, is_redacted, redact, redact_bytes, redact_named, redact_value

_RANDOM = random.Random(1)
_WORD = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits


def _text(length: int, alphabet: str = _WORD) -> str:
    """Noise that ends with a digit."""
    return "".join(_RANDOM.choice(alphabet) for _ in range(length - 1)) + "7"


def _hex(length: int) -> str:
    return _text(length, "0123456789abcdef")


# Made up here, in the shapes that their makers document: none of them opens anything.
SHAPES = {
    "aws": "AKIA" + _text(16, _UPPER),
    "aws temporary": "ASIA" + _text(16, _UPPER),
    "github personal": "ghp_" + _text(36),
    "github oauth": "gho_" + _text(36),
    "github app": "ghs_" + _text(36),
    "github fine": f"github_pat_{_text(22)}_{_text(59)}",
    "gitlab": "glpat-" + _text(20),
    "gitlab runner": "glrt-" + _text(20),
    "slack bot": "xoxb-123456789012-" + _text(24),
    "slack user": "xoxp-123456789012-" + _text(24),
    "slack app": "xapp-1-A0123-" + _text(30),
    "slack hook": "https://hooks.slack.com/services/T0000/B0000/" + _text(24),
    "discord hook": "https://discord.com/api/webhooks/123456789012345678/" + _text(68),
    "telegram": "123456789:AA" + _text(33),
    "openai": "sk-" + _text(48),
    "openai project": "sk-proj-" + _text(48),
    "anthropic": "sk-ant-api03-" + _text(90),
    "groq": "gsk_" + _text(52),
    "replicate": "r8_" + _text(37),
    "perplexity": "pplx-" + _text(48),
    "xai": "xai-" + _text(80),
    "hugging face": "hf_" + _text(34),
    "google api": "AIza" + _text(35),
    "google client": "GOCSPX-" + _text(28),
    "google access": "ya29." + _text(60),
    "google refresh": "1//0" + _text(40),
    "stripe": "sk_live_" + _text(24),
    "stripe restricted": "rk_test_" + _text(24),
    "stripe hook": "whsec_" + _text(32),
    "sendgrid": f"SG.{_text(22)}.{_text(43)}",
    "twilio": "SK" + _hex(32),
    "mailgun": "key-" + _hex(32),
    "mailchimp": _hex(32) + "-us12",
    "npm": "npm_" + _text(36),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + _text(60),
    "digitalocean": "dop_v1_" + _hex(64),
    "shopify": "shpat_" + _hex(32),
    "square": "sq0atp-" + _text(22),
    "databricks": "dapi" + _hex(32),
    "grafana": f"glsa_{_text(32)}_{_hex(8)}",
    "new relic": "NRAK-" + _text(27, _UPPER),
    "linear": "lin_api_" + _text(40),
    "postman": f"PMAK-{_hex(24)}-{_hex(34)}",
    "docker": "dckr_pat_" + _text(27),
    "vault": "hvs." + _text(90),
    "terraform": f"{_text(14)}.atlasv1.{_text(64)}",
    "doppler": "dp.pt." + _text(43),
    "figma": "figd_" + _text(40),
    "web token": f"eyJ{_text(20)}.eyJ{_text(40)}.{_text(43)}",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow" + _text(64) + "\n-----END RSA PRIVATE KEY-----",
    "age": "AGE-SECRET-KEY-1" + _text(58, _UPPER),
}

# A text with a secret in it, and the secret.
PLACES = [
    ("postgres://ann:p4ss!w@host/db", "p4ss!w"),
    ("https://ann:tok%40en@example.org/x.git", "tok%40en"),
    (f"https://{'a1' * 20}@example.org/x.git", "a1a1"),
    ("Authorization: Bearer abcdef1234567890", "abcdef12"),
    ('curl -H "Authorization: Basic dXNlcjpwYXNzd29yZA=="', "dXNlcjpw"),
    ("https://b.example.org/k?X-Amz-Signature=0123456789abcdef&x=1", "0123456789"),
    ("https://x.blob.example.net/c?sv=2020&sig=abcDEF123%3D", "abcDEF123"),
    ('password = "hunter2"', "hunter2"),
    ("db_password='correct horse'", "correct"),
    ("dbPassword: 'correct horse'", "correct"),
    ("PASSWORD=hunter2", "hunter2"),
    ("export DB_PASSWORD=s3cr3t!", "s3cr3t"),
    ('{"client_secret": "abc123def"}', "abc123"),
    ("api_key: 0123456789abcdef0123", "0123456789"),
    ("apiKey: 'abcdefgh'", "abcdefgh"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
    ("train.py --password hunter2 --lr 1", "hunter2"),
    ("train.py --api-key=abcd1234", "abcd1234"),
    ("['train.py', '--token', 'abcd1234abcd1234abcd']", "abcd1234"),
    ("machine api.example.org login user password 0123456789abcdef", "0123456789"),
    ("Server=x;Password=Pa55word;", "Pa55word"),
    (f"AccountName=x;AccountKey={_text(86)}==;", "=="),
    (f"WANDB_API_KEY={'0123456789' * 4}", "0123456789"),
    ('+    API_TOKEN = "abcdef0123456789abcdef"', "abcdef0123"),
    ("token=abcdef0123456789abcdef", "abcdef0123"),
    ("secret: s3cr3tvalue", "s3cr3tvalue"),
]

ALIKE = [
    "num_tokens=4096",
    "max_tokens: 512",
    'tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")',
    'pad_token="[PAD]"',
    "eos_token='</s>'",
    "tokens/s: 12345.6",
    "token_length = 128",
    "password_length=8",
    "use_password = True",
    "api_key = None",
    'api_key=os.environ["OPENAI_API_KEY"]',
    "secret = args.secret",
    "password = get_password()",
    'password = getpass.getpass("Password: ")',
    "key=lambda x: x[0]",
    "for key, value in items:",
    f"sha256: {_hex(64)}",
    f"commit {_hex(40)}",
    "id=6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "lr=0.001 batch=32",
    "keyboard=us",
    "secret_size=64",
    "sklearn-0.24.1-cp39-cp39-manylinux2010_x86_64.whl",
    "skip-connection-layers-with-2-blocks",
    'token_type_ids = inputs["token_type_ids"]',
    "auth = requests.auth",
    "sig = inspect.signature(f)",
    "https://example.org/a?page=2&key=name",
    "s3://bucket/path/key",
    'primary_key = "id"',
    "next_token = model(x)",
    "password: str",
    "token: int = 5",
    "Authorization required",
    "basic usage of tokens",
    "bearer of bad news",
    "passed 12 tests",
    "compass_direction=3",
    'hidden_key = "layer.12.attention.output.dense"',
    'monkey="abcdefgh12345678x"',
    'tokenizer_name="gpt2-medium-355M-abc"',
    'turkey: "abcdef1234567890ab"',
    "cache_key=abc123def456abc123def456",
    "ssh://git@example.org/x.git",
    "git@example.org:ann/x.git",
]


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("around", ["{}", "using {} now", "key = '{}'", '{{"x": "{}"}}', "x={};", "+{}"])
def test_a_shape_is_found_wherever_it_stands(secret: str, around: str) -> None:
    """Nothing of its end is left, and what stands around it is."""
    found = redact(around.format(secret))
    assert secret[-12:] not in found
    assert is_redacted(found)
    before, after = around.replace("{{", "{").replace("}}", "}").split("{}") if "{}" in around else ("", "")
    assert found.startswith(before)
    assert found.endswith(after)


def test_there_are_fifty_shapes() -> None:
    """As many as are promised."""
    assert len(SHAPES) >= 50


@pytest.mark.parametrize(("text", "secret"), PLACES)
def test_a_secret_is_found_by_what_it_is_called(text: str, secret: str) -> None:
    """In URLs, headers, settings, code, command lines."""
    found = redact(text)
    assert secret not in found
    assert is_redacted(found)


@pytest.mark.parametrize("text", ALIKE)
def test_what_looks_alike_is_left_alone(text: str) -> None:
    """It is the very same text."""
    assert redact(text) is text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("Args/api_key", "abc"),
        ("dbPassword", "x1"),
        ("AWS_SECRET_ACCESS_KEY", "a/b+c"),
        ("clientSecret", "zz"),
        ("HF_TOKEN", "hf_" + _text(34)),
        ("token", _text(32)),
    ],
)
def test_a_value_is_judged_by_its_name(name: str, value: str) -> None:
    """Whatever it looks like, where the name is plain."""
    assert redact_named(name, value).startswith("[redacted ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_tokens", "4096"),
        ("pad_token", "[PAD]"),
        ("tokenizer", "bert-base"),
        ("Args/max_token_len", "77"),
        ("secret_dim", "4"),
        ("password_length", "8"),
        ("password", ""),
        ("password", "None"),
        ("api_key", "<your key>"),
        ("key", "a.b.c"),
        ("password", "/run/secrets/database"),
        ("api_key", "~/.config/key.txt"),
    ],
)
def test_a_value_whose_name_looks_alike_stays(name: str, value: str) -> None:
    """So do placeholders."""
    assert redact_named(name, value) == value


def test_a_value_is_searched_to_its_depths_and_otherwise_the_same() -> None:
    """The record of a parameter goes by the parameter's name; what holds no secret is the same object."""
    record = {"section": "Args", "name": "password", "value": "hunter2", "type": "str"}
    assert redact_value("param/Args/password", record) == {**record, "value": "[redacted secret]"}
    deep = {"a": [1, {"db": {"password": "x1"}}, "plain"], "n": None}
    assert redact_value("config/all", deep) == {
        "a": [1, {"db": {"password": "[redacted secret]"}}, "plain"],
        "n": None,
    }
    plain = {"a": (1, 2.5, "three"), "b": {"c": True}}
    assert redact_value("param/General/a", plain) is plain


def test_redacting_twice_is_redacting_once() -> None:
    """A mark is no secret."""
    for text in [*SHAPES.values(), *(text for text, _ in PLACES)]:
        once = redact(text)
        assert redact(once) == once


def test_a_key_of_many_lines_is_hidden_line_by_line() -> None:
    """From its beginning to its end, and not beyond."""
    lines = Lines()
    shown = [lines.redact(line) for line in ["a", *SHAPES["private key"].split("\n"), "b"]]
    assert shown == ["a", *["[redacted private key]"] * 3, "b"]


def test_what_is_no_utf_8_keeps_its_bytes() -> None:
    """Only the secret in it goes."""
    assert redact_bytes(b'\xff\xfe password="hunter2" \xff') == b'\xff\xfe password="[redacted secret]" \xff'
    assert redact_bytes(b"\xff" * 10) == b"\xff" * 10


@pytest.mark.parametrize(
    "text",
    [
        "token=" * 20000,
        "a_" * 50000 + "password",
        "https://" * 12000,
        "eyJ" * 30000,
        "-----BEGIN " * 10000,
        "https://x?sig=" * 8000,
        "authorization " * 8000,
        "https://" + "x:" * 50000 + "@",
        "-" * 100000 + "key",
        "password='" * 10000,
        "machine login password " * 5000,
        "://" + "a" * 100000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A hundred thousand characters made to be hard; a second and more would mean steps by their square."""
    began = time.thread_time()
    redact(text)
    assert time.thread_time() - began < 5
