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
        path: "/assets/page-a83810db39.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"a83810db3980730e5c409636466f58c0\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-a83810db39.js"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"5d58ee0eb1121e63b64a321281e1f41f\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"6167f6365bb959eacadd22f8d92a03f0\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
