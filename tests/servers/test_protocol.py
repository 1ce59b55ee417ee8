"""The scripted server is faithful enough for the SDKs' own parsing calls, on all three protocols."""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from servers.protocol import ProtocolServer, error, good

pytestmark = pytest.mark.server


class Order(BaseModel):
    order_id: str


def test_both_sdks_parse_what_it_says() -> None:
    import anthropic
    import openai

    with ProtocolServer(good('{"order_id":"AB-1"}')) as server:
        client = openai.OpenAI(api_key="none", base_url=server.base_url, max_retries=0)
        chat = client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": "x"}], response_format=Order
        )
        response = client.responses.parse(model="m", input="x", text_format=Order)
        other = anthropic.Anthropic(api_key="none", base_url=server.origin, max_retries=0)
        message = other.messages.parse(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], output_format=Order
        )
    assert chat.choices[0].message.parsed == Order(order_id="AB-1")
    assert response.output_parsed == Order(order_id="AB-1")
    assert message.parsed_output == Order(order_id="AB-1")
    assert [seen.path for seen in server.seen] == ["/v1/chat/completions", "/v1/responses", "/v1/messages"]
    assert all(seen.schema for seen in server.seen)


def test_errors_have_the_shape_of_their_provider() -> None:
    import anthropic
    import openai

    with ProtocolServer(error(429, "slow down", retry_after="3")) as server:
        client = openai.OpenAI(api_key="none", base_url=server.base_url, max_retries=0)
        with pytest.raises(openai.RateLimitError, match="slow down") as first:
            client.responses.create(model="m", input="x")
        other = anthropic.Anthropic(api_key="none", base_url=server.origin, max_retries=0)
        with pytest.raises(anthropic.RateLimitError, match="slow down"):
            other.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert first.value.response.headers["retry-after"] == "3"
