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
        path: "/assets/page-a20664fbcd.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"a20664fbcd5c4a6614dde69160096528\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-a20664fbcd.js"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"d4e97ce484243f13ab3e99ceeea32884\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"e63230d6689a059fce8f6bcfbdf353e0\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"46fddd525feb8cd7a64271bb90f4dba2\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
