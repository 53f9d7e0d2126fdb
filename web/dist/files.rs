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
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/assets/page-c1e6962d09.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"c1e6962d09889a1b7e130513e3b65d89\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-c1e6962d09.js"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"8cd90f5ad9ad709fa1397a7b1524480a\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"ce5fedb166a8dd0ebcd693abdd1c2c7f\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"43f4a247bf453753acc015945e8ca453\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
