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
        path: "/assets/page-872d7d8057.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"872d7d80574ee0d364e038a7c16c9527\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-872d7d8057.js"),
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
        etag: "\"af6ff322346627db51dc44f53195fb30\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"10af962f38202eecd5c135f13303b50d\"",
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
        etag: "\"6e00f5aa785956370db3d3737f72dbbc\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
