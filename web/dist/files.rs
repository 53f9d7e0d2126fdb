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
        path: "/assets/page-c40737c9aa.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"c40737c9aa80ed90aae508c84d280806\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-c40737c9aa.js"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"bbff2f00180c84e433fd7ba101ca9fbf\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"45721002f56a258aded2910ba092ced2\"",
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
        etag: "\"295baafe6cd7549d0fcb1709954f3bac\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
