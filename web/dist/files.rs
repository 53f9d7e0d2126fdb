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
        path: "/assets/page-29ae7007a3.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"29ae7007a3070e6f3496f54cc75d21d9\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-29ae7007a3.js"),
    },
    File {
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"3ff73edb3a62517bda7eaf1871f9e324\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"0ee3f9aa96e7606592e1f19914f99dda\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"fd16d57d4bff3b9f1a418d0a2de52ae4\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"d181042ca3ddf34953cfcfd30caf6fad\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
