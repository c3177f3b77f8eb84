//! Files, directories and blocks over HTTP.

use client::link;
use protocol::time::UnixSeconds;

use super::*;

#[tokio::test]
async fn a_file_comes_whole_with_the_headers_of_something_immutable() {
    let server = Server::start().await;
    let (cid, bytes, blocks) = song_file();
    server.put(blocks).await;
    server.publish(cid).await;
    let reply = server.get(&format!("/ipfs/{cid}")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body, bytes);
    assert_eq!(reply.header("etag"), format!("\"{cid}\""));
    assert_eq!(reply.header("content-length"), "2500000");
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert_eq!(reply.header("content-type"), "audio/mpeg");
    assert!(reply.header("cache-control").contains("immutable"));
    assert!(reply.header("server").starts_with("coliving/"));
    let head = server.send(ask("HEAD", &format!("/ipfs/{cid}"))).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(head.header("content-length"), "2500000");
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn ranges_are_cut_out_of_the_file() {
    let server = Server::start().await;
    let (cid, bytes, blocks) = song_file();
    server.put(blocks).await;
    let path = format!("/ipfs/{cid}");
    let cases = [
        ("bytes=0-0", 0..1),
        ("bytes=1048570-1048580", 1_048_570..1_048_581),
        ("bytes=2499990-", 2_499_990..2_500_000),
        ("bytes=2499990-9999999", 2_499_990..2_500_000),
        ("bytes=-5", 2_499_995..2_500_000),
    ];
    for (header, wanted) in cases {
        let reply = server.send(ask("GET", &path).header("range", header)).await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{header}");
        assert_eq!(reply.body, bytes[wanted.clone()], "{header}");
        let shown = format!("bytes {}-{}/2500000", wanted.start, wanted.end - 1);
        assert_eq!(reply.header("content-range"), shown);
    }
    for header in ["bytes=2500000-", "bytes=-0"] {
        let reply = server.send(ask("GET", &path).header("range", header)).await;
        reply.check_error(416, "bad_range");
        assert_eq!(reply.header("content-range"), "bytes */2500000");
    }
    for header in ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5"] {
        let reply = server.send(ask("GET", &path).header("range", header)).await;
        assert_eq!(reply.status, StatusCode::OK, "{header}");
        assert_eq!(reply.body.len(), bytes.len(), "{header}");
    }
    let stale = ask("GET", &path)
        .header("range", "bytes=0-0")
        .header("if-range", "\"other\"");
    assert_eq!(server.send(stale).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_known_tag_saves_the_body() {
    let server = Server::start().await;
    let (cid, _, blocks) = song_file();
    server.put(blocks).await;
    for tag in [
        format!("\"{cid}\""),
        format!("\"a\", W/\"{cid}\""),
        "*".to_owned(),
    ] {
        let request = ask("GET", &format!("/ipfs/{cid}")).header("if-none-match", tag);
        let reply = server.send(request).await;
        assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("etag"), format!("\"{cid}\""));
    }
}

#[tokio::test]
async fn what_is_not_here_is_named() {
    let server = Server::start().await;
    let (cid, _, mut blocks) = song_file();
    server
        .check_error(&format!("/ipfs/{cid}"), 404, "not_here")
        .await;
    let cached = ask("GET", &format!("/ipfs/{cid}")).header("cache-control", "only-if-cached");
    server.send(cached).await.check_error(412, "not_cached");
    server.check_error("/ipfs/nonsense", 400, "bad_cid").await;
    // The first leaf is missing: a 404, not a broken body.
    blocks.remove(0);
    server.put(blocks).await;
    server
        .check_error(&format!("/ipfs/{cid}"), 404, "not_here")
        .await;
    server
        .check_error(
            &format!("/ipfs/{cid}?format=car"),
            406,
            "format_unsupported",
        )
        .await;
    let car = ask("GET", &format!("/ipfs/{cid}")).header("accept", "application/vnd.ipld.car");
    server
        .send(car)
        .await
        .check_error(406, "format_unsupported");
}

#[tokio::test]
async fn a_block_comes_raw() {
    let server = Server::start().await;
    let (cid, _, blocks) = song_file();
    let root = blocks.last().unwrap().data().clone();
    server.put(blocks).await;
    let accepting =
        ask("GET", &format!("/ipfs/{cid}")).header("accept", "application/vnd.ipld.raw");
    let asking = ask("GET", &format!("/ipfs/{cid}?format=raw"));
    for request in [accepting, asking] {
        let reply = server.send(request).await;
        assert_eq!(reply.body, root);
        assert_eq!(reply.header("content-type"), "application/vnd.ipld.raw");
        assert!(
            reply
                .header("content-disposition")
                .starts_with("attachment")
        );
    }
}

#[tokio::test]
async fn directories_show_their_index_or_a_list() {
    let server = Server::start().await;
    let leaf = |text: &str| {
        let mut importer = Importer::new(Profile::V1_2025);
        importer.push(text.as_bytes());
        importer.finish()
    };
    let (page, page_blocks) = leaf("<html>hello</html>");
    let (note, note_blocks) = leaf("a & b");
    let mut site = Directory::new(Profile::V1_2025);
    site.insert("index.html", page.cid, page.dag_bytes).unwrap();
    let (site, site_blocks) = site.finish();
    let mut top = Directory::new(Profile::V1_2025);
    top.insert("site", site.cid, site.dag_bytes).unwrap();
    top.insert("a <b>.txt", note.cid, note.dag_bytes).unwrap();
    let (top, top_blocks) = top.finish();
    server
        .put([page_blocks, note_blocks, site_blocks, top_blocks].concat())
        .await;
    let root = top.cid;

    let reply = server.get(&format!("/ipfs/{root}")).await;
    assert_eq!(reply.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(reply.header("location"), format!("/ipfs/{root}/"));
    let reply = server.get(&format!("/ipfs/{root}/")).await;
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(
        text.contains("href=\"./a%20%3Cb%3E.txt\">a &lt;b&gt;.txt</a>"),
        "{text}"
    );
    let reply = server.get(&format!("/ipfs/{root}/site/")).await;
    assert_eq!(reply.body, "<html>hello</html>");
    assert!(reply.header("content-type").starts_with("text/html"));
    assert!(
        reply
            .header("content-security-policy")
            .starts_with("sandbox allow-scripts")
    );
    let reply = server
        .get(&format!("/ipfs/{root}/a%20%3Cb%3E.txt?download=true"))
        .await;
    assert_eq!(reply.body, "a & b");
    assert!(reply.header("content-type").starts_with("text/plain"));
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename=\"a <b>.txt\"; filename*=UTF-8''a%20%3Cb%3E.txt"
    );
    server
        .check_error(&format!("/ipfs/{root}/none"), 404, "not_found")
        .await;
}

/// Has one block, and a holder for everything.
#[derive(Debug)]
struct OneBlock(Bytes);

impl Network for OneBlock {
    fn fetch(&self, _: Cid, _: Cid) -> BoxFuture<'_, Result<Bytes, Unfetched>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn read(
        &self,
        _: Cid,
        _: std::ops::Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, Unfetched>> {
        let data = self.0.clone();
        futures::stream::once(async move { Ok(data) }).boxed()
    }

    fn holder_url(&self, _: Cid) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { Some("https://holder.example/".to_owned()) })
    }
}

#[tokio::test]
async fn only_the_owner_makes_the_gateway_fetch_and_nothing_unchecked_is_served() {
    let data = Bytes::from_static(b"hello");
    let cid = unixfs::raw_cid(&data);
    let network = Arc::new(OneBlock(data));
    let server = Server::with(Parts {
        network: Some(network),
        ..Parts::default()
    })
    .await;
    let path = format!("/ipfs/{cid}?format=raw");
    let reply = server.get(&path).await;
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(
        reply.header("location"),
        format!("https://holder.example{path}")
    );
    let bearer = format!("Bearer {TOKEN}");
    let owner = |path: &str| ask("GET", path).header("authorization", &bearer);
    assert_eq!(server.send(owner(&path)).await.body, "hello");
    let bearer_at = |host: &str, name: &'static str, value: &'static str| {
        let request = Request::builder().uri(&path).header("host", host);
        request.header("authorization", &bearer).header(name, value)
    };
    let own = bearer_at("localhost:4000", "origin", "http://localhost:4000");
    assert_eq!(server.send(own).await.body, "hello");
    // A player that was given a link.
    let end = UnixSeconds(server.context.clock.now().unix().0 + 60);
    let linked = |root: &Cid| format!("{path}&link={}", link::sign(TOKEN, root, end));
    assert_eq!(server.get(&linked(&cid)).await.body, "hello");
    let reply = server.get(&linked(&unixfs::raw_cid(b"other"))).await;
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    // A program on this machine without the token, and a page elsewhere with it, are
    // strangers.
    let nearby = ask("GET", &path).extension(listen::Remote(Some([127, 0, 0, 1].into())));
    for request in [
        nearby,
        bearer_at("localhost:4000", "origin", "https://evil.example"),
        bearer_at("localhost:4000", "sec-fetch-site", "cross-site"),
        bearer_at("192.0.2.1", "accept", "*/*"),
    ] {
        assert_eq!(
            server.send(request).await.status,
            StatusCode::TEMPORARY_REDIRECT
        );
    }
    let rebound = bearer_at("evil.example", "accept", "*/*");
    server.send(rebound).await.check_error(403, "foreign_host");
    let cached = owner(&path).header("cache-control", "only-if-cached");
    server.send(cached).await.check_error(412, "not_cached");
    let other = unixfs::raw_cid(b"other");
    let reply = server.send(owner(&format!("/ipfs/{other}"))).await;
    reply.check_error(422, "unreadable");
}

#[tokio::test]
async fn what_is_not_known_to_be_passive_is_sandboxed() {
    let server = Server::start().await;
    let (cid, _, blocks) = song_file();
    server.put(blocks).await;
    for (name, start) in [
        ("a.mp3", ""),
        ("a.webm", ""),
        ("a.png", ""),
        ("a.pdf", ""),
        ("a.txt", ""),
        ("a.json", ""),
        ("a.html", "sandbox allow-scripts"),
        ("a.svg", "sandbox; default-src 'none'"),
        ("a.xml", "sandbox; default-src 'none'"),
        ("a.css", "sandbox; default-src 'none'"),
        ("a.mjs", "sandbox; default-src 'none'"),
        ("a.wasm", "sandbox; default-src 'none'"),
    ] {
        let reply = server.get(&format!("/ipfs/{cid}?filename={name}")).await;
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with(start), "{name}: {policy}");
        assert_eq!(policy.is_empty(), start.is_empty(), "{name}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_file_is_of_the_type_that_the_links_content_says() {
    const PAGE: u64 = SONG + 1;
    const STYLE: u64 = SONG + 2;
    const PARTS: u64 = SONG + 3;
    let server = Server::start().await;
    let (cid, _, blocks) = song_file();
    server.put(blocks).await;
    let alone = unixfs::raw_cid(b"alone");
    let content = |cid: Cid, mime: &str| ContentFields {
        title: Some("Night song".to_owned()),
        cid: Some(cid.to_string()),
        mime: Some(mime.to_owned()),
        ..ContentFields::default()
    };
    let user = |handle: &str| UserFields {
        handle: Some(handle.to_owned()),
        ..UserFields::default()
    };
    let create =
        |user, id, cid, mime| by(user).create_digital_content(EntityId(id), &content(cid, mime));
    server
        .apply(vec![
            by(ADA).create_user(&user("ada")),
            by(BEN).create_user(&user("ben")),
            create(ADA, SONG, cid, "audio/mpeg"),
            create(BEN, PAGE, cid, "text/html"),
            create(BEN, STYLE, cid, "text/xsl"),
            create(BEN, PARTS, cid, "multipart/x-mixed-replace"),
            create(BEN, PARTS + 1, alone, "text/html"),
        ])
        .await;
    let media = async |query: &str| {
        let reply = server.get(&format!("/ipfs/{cid}{query}")).await;
        let policy = reply.header("content-security-policy").to_owned();
        (reply.header("content-type").to_owned(), policy)
    };
    let unknown = ("application/octet-stream".to_owned(), String::new());
    // Several disagree, so that nobody is believed.
    assert_eq!(media("").await, unknown);
    let song = hashid::encode(SONG);
    assert_eq!(media(&format!("?content={song}")).await.0, "audio/mpeg");
    let (found, policy) = media(&format!("?content={PAGE}")).await;
    assert_eq!(found, "text/html");
    assert!(policy.starts_with("sandbox"), "{policy}");
    let (found, policy) = media(&format!("?content={STYLE}")).await;
    assert_eq!(found, "text/xsl");
    assert!(
        policy.starts_with("sandbox; default-src 'none'"),
        "{policy}"
    );
    // Neither a type of many types nor another root's content says anything.
    assert_eq!(media(&format!("?content={PARTS}")).await, unknown);
    assert_eq!(media(&format!("?content={}", PARTS + 1)).await, unknown);
}
