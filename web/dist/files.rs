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
        path: "/assets/page-230b44afb5.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"230b44afb56bad577c5ef81335bd9029\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-230b44afb5.js"),
    },
    File {
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"9ee2ecdff0406c8bc01c35ff3f8586c3\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"b400baeb4c8705a4ea89cf12d9de5e60\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"3820df508e549b7e08144538ef61a330\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
