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
        path: "/assets/page-12a5fd52f1.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"12a5fd52f181dcafdc7e235fe944514f\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-12a5fd52f1.js"),
    },
    File {
        path: "/assets/page-89aeeed1e1.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"89aeeed1e1edb5820c06ace03b6fd6e6\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-89aeeed1e1.css"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"351b4e23c05854471e194dc09b14d30e\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"09716763a3efd015fc2fb7aab078e2b5\"",
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
        etag: "\"cca0723440cfe4241667f466e9650730\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
