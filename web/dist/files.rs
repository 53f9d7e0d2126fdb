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
        path: "/assets/page-13d7af6e2d.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"13d7af6e2de76562ac1b2416e90a6214\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-13d7af6e2d.js"),
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
        etag: "\"06aef8563f3295e4e675dcf201d92e39\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"c581cd595058d581c452b8b2cefb22bf\"",
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
        etag: "\"8c19408a3148bef05f277839b0e659c8\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
