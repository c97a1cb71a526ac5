import re

PATHS = {
    ("/register", "post"): {"201", "400", "401", "403", "408", "429", "500"},
    ("/token", "post"): {"200", "400", "401", "408", "429", "500"},
    ("/forward", "post"): {"200", "400", "401", "403", "408", "413", "429", "500", "503", "504"},
    ("/history", "get"): {"200", "400", "401", "403", "500"},
    ("/history", "delete"): {"204", "400", "401", "403", "500"},
    ("/history/export", "get"): {"200", "400", "401", "403", "500"},
    ("/history/{row_id}", "get"): {"200", "400", "401", "403", "404", "500"},
    ("/stats", "get"): {"200", "400", "401", "403", "500"},
    ("/stats/timeline", "get"): {"200", "400", "401", "403", "500"},
    ("/metrics", "get"): {"200", "401", "403", "500"},
    ("/health/live", "get"): {"200"},
    ("/health/ready", "get"): {"200", "500", "503"},
}


async def test_the_document_has_every_call_with_its_codes_and_auth(client):
    document = (await client.get("/docs/openapi.json")).json()
    calls = {
        (path, method): set(operation["responses"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert calls == PATHS
    security = {(path, method): document["paths"][path][method].get("security") for path, method in PATHS}
    assert security["/history", "get"] == [{"bearer": []}]
    assert security["/history", "delete"] == [{"adminToken": []}]
    assert security["/forward", "post"] == [{}, {"bearer": []}]
    assert document["components"]["securitySchemes"].keys() == {"bearer", "adminToken"}
    body = document["paths"]["/forward"]["post"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "application/x-www-form-urlencoded", "application/json", "image/*"}


async def test_the_pages_load_nothing_from_elsewhere(client):
    for page in ("/docs", "/redoc"):
        answer = await client.get(page)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        html = answer.text
        loaded = re.findall(r"""(?:src|href|url)=["']([^"']+)""", html)
        assert loaded, page
        for address in loaded:
            assert address.startswith(("/docs/assets/", "data:")), address
            if address.startswith("/"):
                asset = await client.get(address)
                assert asset.status_code == 200
                assert asset.headers["Content-Encoding"] == "gzip"
                assert not re.search(r"https?://[a-z0-9.-]*(cdn|unpkg|jsdelivr|googleapis)", asset.text)
        assert "https://" not in re.sub(r"<script>.*?</script>", "", html, flags=re.S)
