// Written by web/build.mjs.
&[
    File {
        path: "/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        etag: "\"22de4ba081539467fb73acf440083854\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/icon-22de4ba081.svg"),
    },
    File {
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/assets/page-5d5369ba3c.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"5d5369ba3c3b3d02a523b3bfba7ce66f\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-5d5369ba3c.js"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"7b9c4fc63b26df270f51998536287a6e\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"667a60ccf6de31f1ec306a0131b801cd\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"511d753e3bbfe51653d144a8b5f044f9\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"2a5c939f7528c85e7ed313b355c12cd0\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
