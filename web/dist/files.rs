// Written by web/build.mjs.
&[
    File {
        path: "/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        etag: "\"22de4ba081539467fb73acf440083854\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/icon-22de4ba081.svg"),
    },
    File {
        path: "/assets/page-20008007e8.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"20008007e8629c16b6ab98e6886e0807\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-20008007e8.js"),
    },
    File {
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"c8b18e71ed61cab970d13e66945db0a0\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"e63230d6689a059fce8f6bcfbdf353e0\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"ece21eea20a22045f071084263170911\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
