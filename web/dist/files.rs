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
        path: "/assets/page-f4d7c41972.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"f4d7c419728044415182d51a79d0c809\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-f4d7c41972.js"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"a375f25ebc5ae7a48e8d7cbc8588c545\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"86d198ec5e23a3430cd134c6f8b9386e\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
