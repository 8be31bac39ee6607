"""HTTPS_ONLY, behind a proxy that ends TLS."""


def test_all_but_probes_are_sent_to_https(start):
    service = start(HTTPS_ONLY="on", TRUSTED_PROXY_COUNT="1", WEB_CONCURRENCY="1")

    plain = service.client.get("/api/v1/docs")
    assert (plain.status_code, plain.headers["Location"]) == (301, f"https://127.0.0.1:{service.port}/api/v1/docs")
    for probe in ("/health", "/api/v1/health", "/health/ready"):
        assert service.client.get(probe).status_code == 200

    secure = service.client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
    assert secure.status_code == 200
    assert secure.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "Secure" in secure.headers["Set-Cookie"]
