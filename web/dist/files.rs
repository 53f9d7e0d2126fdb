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
        path: "/assets/page-86ed3ec1b1.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"86ed3ec1b13d1cbd0186f97627a1d60e\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-86ed3ec1b1.js"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"7e287b28c4859241b66c94fca666a1e3\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"d93f9ad873b07d832f849120167efa51\"",
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
        path: "/seawall-client-timeline.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"e9c0dba2d5838b556bc76443fd0954ec\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client-timeline.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"1e8dbc7f471ed6ed123fab12e49482c4\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
