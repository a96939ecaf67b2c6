use std::time::Instant;

use super::*;
use crate::commands::status::Problem;
use crate::ui::sample::{NODES, Sample};
use crate::ui::timeline::Timeline;

fn shown(view: &View, query: &str) -> String {
    document(&Shown { version: 1, view, query: &Query::read(query), drain: None, looked: None })
}

async fn page(sample: Sample<'_>, query: &str) -> String {
    shown(&sample.view().await, query)
}

/// What is within the first element that begins like this, up to `end`.
fn part<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = page.split_once(begin).unwrap_or_else(|| panic!("no {begin}: {page}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {begin}")).0
}

#[tokio::test]
async fn a_cluster_that_is_well_is_told_to_be_so_with_nodes_pools_and_services() {
    let page = page(Sample::default(), "").await;
    assert!(part(&page, "<h1>", "</h1>").ends_with("All is well"), "{page}");
    assert!(page.contains("<title>All is well - homelab - FerroLB</title>"));
    assert!(!page.contains("id=\"problems\""));
    for node in NODES {
        assert!(page.contains(&format!("data-key=\"node {node}\"")), "{node}");
    }
    assert!(page.contains("data-key=\"pool lan\""));
    assert!(page.contains("data-key=\"service home/mosquitto\""));
    let services: usize = page.matches("data-key=\"service ").count();
    assert_eq!(services, 21);
}

#[tokio::test]
async fn problems_come_first_with_reason_and_remedy() {
    let page = page(Sample { problems: true, ..Sample::default() }, "").await;
    assert!(part(&page, "<h1>", "</h1>").ends_with("3 problems"), "{page}");
    assert!(page.find("id=\"problems\"") < page.find("id=\"nodes\""));
    let problems = part(&page, "id=\"problems\"", "</section>");
    assert!(problems.contains("b8:27:eb:11:22:33"), "{problems}");
    assert!(problems.contains("pool staging: exhausted (2 of 2)"), "{problems}");
    assert_eq!(problems.matches("What to do").count(), 3, "{problems}");
    let first = part(&page, "data-key=\"service ", "\"");
    assert!(["batch/importer", "home/zigbee2mqtt", "staging/search"].contains(&first), "{first}");
}

#[tokio::test]
async fn of_many_problems_the_first_are_shown_and_the_rest_can_be_opened() {
    let mut view = Sample { problems: true, ..Sample::default() }.view().await;
    let problems = &mut view.seen.as_mut().unwrap().summary.problems;
    let first = problems[0].clone();
    let numbered = |number: usize| Problem {
        about: format!("problem-{number:03}"),
        reason: format!("reason {number}"),
        ..first.clone()
    };
    *problems = (0..250).map(numbered).collect();
    let page = shown(&view, "");
    let (shown, rest) = part(&page, "id=\"problems\"", "</section>").split_once("<details").unwrap();
    assert_eq!((shown.matches("problem-").count(), rest.matches("problem-").count()), (12, 200));
    assert!(
        rest.contains("and 238 more") && rest.contains("and 38 more: all Services with a problem"),
        "{rest}"
    );
}

#[tokio::test]
async fn those_with_the_same_problem_are_one_card() {
    let mut view = Sample { problems: true, ..Sample::default() }.view().await;
    let problems = &mut view.seen.as_mut().unwrap().summary.problems;
    let first = problems[0].clone();
    *problems =
        ["a", "b", "c", "d", "e"].map(|name| Problem { about: name.to_owned(), ..first.clone() }).into();
    let page = shown(&view, "");
    let problems = part(&page, "id=\"problems\"", "</section>");
    assert!(problems.contains("a, b, c and 2 more") && problems.matches("<li").count() == 1, "{problems}");
    assert!(part(&page, "<h1>", "</h1>").ends_with("5 problems"), "{page}");
}

#[tokio::test]
async fn a_node_with_a_problem_is_not_called_ready() {
    let page = page(Sample { routers: true, problems: true, ..Sample::default() }, "").await;
    let top = |node: &str| {
        part(part(&page, &format!("data-key=\"node {node}\""), "</li>"), "class=\"state ", "</div>")
            .to_owned()
    };
    assert!(top("rack2-b").starts_with("bad") && top("rack2-b").contains("problem"), "{}", top("rack2-b"));
    assert!(top("rack1-c").starts_with("good") && top("rack1-c").contains("ready"), "{}", top("rack1-c"));
}

#[tokio::test]
async fn routers_are_shown_with_who_tells_them_what_and_lost_sessions_come_first() {
    let well = page(Sample { routers: true, ..Sample::default() }, "").await;
    assert!(part(&well, "<h1>", "</h1>").ends_with("All is well"), "{well}");
    let postfix = part(&well, "data-key=\"service mail/postfix\"", "</tr>");
    assert!(postfix.contains("rack1-a, rack1-b, rack1-c and 3 more to tor1, tor2"), "{postfix}");
    let node = part(&well, "data-key=\"node rack2-b\"", "</details>");
    assert!(node.contains("BGP: 2/2 routers, 4 routes"), "{node}");
    assert!(node.contains("tor1 (192.168.1.2:179): established for 3 d"), "{node}");
    assert!(well.contains("<dt>BGP sessions</dt><dd>12/12</dd>"), "{well}");
    let lost = page(Sample { routers: true, problems: true, ..Sample::default() }, "").await;
    let problems = part(&lost, "id=\"problems\"", "</section>");
    assert!(
        problems.contains("rack2-b has no session with it (192.168.1.3:179) for 11 min: no TCP connection"),
        "{problems}"
    );
    let first = part(&lost, "data-key=\"node ", "\"");
    assert_eq!(first, "rack2-b", "a node with a problem comes first");
    let node = part(&lost, "data-key=\"node rack2-b\"", "</details>");
    assert!(node.contains("no session with tor2 for 11 min: no TCP connection"), "{node}");
    assert!(node.contains("BGP: 1/2 routers, 4 routes"), "{node}");
}

#[tokio::test]
async fn an_address_is_shown_in_its_pool_with_who_has_it() {
    let page = page(Sample { problems: true, ..Sample::default() }, "").await;
    let lan = part(&page, "data-key=\"pool lan\"", "</ol>");
    assert!(lan.contains("192.168.1.225: in use by ingress/traefik on rack"), "{lan}");
    assert!(lan.contains("class=\"cell silent\" data-key=\"192.168.1.237\""), "{lan}");
    assert!(lan.contains("192.168.1.231: conflict by home/zigbee2mqtt with b8:27:eb:11:22:33"), "{lan}");
    assert!(
        lan.contains("192.168.1.224: node on rack2-c - an address of node rack2-c, never given"),
        "{lan}"
    );
    let dmz = part(&page, "data-key=\"pool dmz\"", "</ol>");
    assert!(dmz.contains("203.0.113.21: free"), "{dmz}");
    let lan6 = part(&page, "data-key=\"pool lan6\"", "</ol>");
    assert!(lan6.contains("<li class=\"run\">2001:db8:5::12-2001:db8:5::ffff free</li>"), "{lan6}");
}

#[tokio::test]
async fn no_text_from_the_cluster_becomes_markup_or_hides_what_is_beside_it() {
    for odd in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'&lt;b",
        "a\u{202e}b",
        "a\u{0}\u{1b}[2Jb\n",
    ] {
        let sample =
            Sample { odd_name: Some(odd), dead: Some("rack1-b"), failure: Some(odd), ..Sample::default() };
        let mut view = sample.view().await;
        view.cluster = odd.to_owned();
        view.no_history = Some(odd.to_owned());
        view.trouble = Some(odd.to_owned());
        let seen = view.seen.as_mut().unwrap();
        for problem in &mut seen.summary.problems {
            problem.remedy = Some(odd.to_owned());
        }
        seen.summary.warnings.push(odd.to_owned());
        seen.nodes[0].row.node = odd.to_owned();
        seen.nodes[0].row.notes.push(odd.to_owned());
        seen.nodes[0].row.interfaces[0].name = odd.to_owned();
        seen.pools[0].row.name = odd.to_owned();
        seen.pools[0].row.faults.push(odd.to_owned());
        seen.pools[0].cells[0].ip = odd.to_owned();
        let mut timeline = Timeline::default();
        timeline.observe(Timestamp::UNIX_EPOCH, &[], &[]);
        timeline.observe(Timestamp::UNIX_EPOCH, &seen.services, &seen.nodes);
        view.timeline = timeline.entries().to_vec();
        let query = Query { drain: Some(odd.to_owned()), words: odd.to_owned(), ..Query::default() };
        let drain = Some((odd, Err(odd.to_owned())));
        for query in [&query, &Query::default()] {
            let shown = Shown { version: 1, view: &view, query, drain: drain.clone(), looked: None };
            let page = document(&shown);
            for markup in ["<script>a", "<img", "'&lt;b\"", "<b<"] {
                assert!(!page.contains(markup), "{odd:?} {markup}");
            }
            assert!(!page.contains(['\u{202e}', '\u{0}', '\u{1b}', '\n']), "{odd:?}");
            assert_eq!(page.matches("<script").count(), 1, "{odd:?}");
            // Every attribute is closed: what is between tags has no quote that was not written as an entity.
            assert!(!page.contains("\"><img"), "{odd:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_loaded_from_elsewhere_and_nothing_is_inline() {
    let page =
        page(Sample { problems: true, dead: Some("rack1-a"), more: 100, ..Sample::default() }, "").await;
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src=\"//"));
    assert!(!page.contains(" style=\"") && !page.contains("<style") && !page.contains(" onclick"));
    let style = include_str!("../assets/style.css");
    assert!(!style.contains("http") && !style.contains("@import"));
    assert_eq!(style.matches("url(").count(), style.matches("url(\"icon.svg\")").count());
}

#[tokio::test]
async fn an_empty_cluster_says_what_to_do_first() {
    let page = page(Sample { empty: true, ..Sample::default() }, "").await;
    let problems = part(&page, "id=\"problems\"", "</section>");
    assert!(problems.contains("Install FerroLB") || problems.contains("install FerroLB"), "{problems}");
    for text in
        ["There are no nodes.", "There are no IPAddressPools.", "There are no Services of type LoadBalancer."]
    {
        assert!(page.contains(text), "{text}");
    }
}

#[tokio::test]
async fn what_could_not_be_seen_is_named_and_never_taken_for_well() {
    let missing =
        "missing right: you may not list services in all namespaces (kubectl auth can-i list services -A)";
    let page = page(Sample { failure: Some(missing), ..Sample::default() }, "").await;
    assert!(part(&page, "<h1>", "</h1>").ends_with("No problem in what can be seen"), "{page}");
    assert!(!page.contains("All is well"));
    assert!(part(&page, "id=\"missing\"", "</section>").contains(missing));
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_shows_what_was_seen_before() {
    let view = View { trouble: Some("connection refused".to_owned()), ..Sample::default().view().await };
    let page = shown(&view, "");
    let headline = part(&page, "class=\"verdict\"", "</div>");
    assert!(headline.contains("The cluster cannot be reached"), "{headline}");
    assert!(headline.contains("connection refused") && headline.contains("was seen before"), "{headline}");
    assert!(page.contains("data-key=\"service home/mosquitto\""));
    let nothing = shown(&View { trouble: Some("refused".to_owned()), ..View::default() }, "");
    assert!(!nothing.contains("was seen before"));
}

#[tokio::test]
async fn two_thousand_services_make_a_short_page_at_once() {
    let view = Sample { more: 2000, ..Sample::default() }.view().await;
    let began = Instant::now();
    let first = shown(&view, "");
    let found = shown(&view, "q=app-1234");
    let took = began.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
    assert!(first.len() < 700_000, "{}", first.len());
    assert_eq!(first.matches("data-key=\"service ").count(), 50);
    assert!(first.contains("Page 1 of 41"), "{first}");
    assert_eq!(found.matches("data-key=\"service ").count(), 1);
    assert!(found.contains("1 Service found"));
    let last = shown(&view, "page=99999");
    assert!(last.contains("Page 41 of 41"));
    assert_eq!(last.matches("data-key=\"service ").count(), 21);
}

#[tokio::test]
async fn each_section_has_a_heading_and_each_cell_of_a_table_its_name() {
    let page = page(Sample { problems: true, ..Sample::default() }, "").await;
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    for labelled in page.split("aria-labelledby=\"").skip(1).filter_map(|it| it.split('"').next()) {
        assert!(ids.contains(&labelled), "{labelled}");
    }
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id is there twice: {ids:?}");
    assert_eq!(page.matches("<main").count(), 1);
    assert!(page.contains("<html lang=\"en\">") && page.contains("role=\"search\""));
    let cells = page.matches("role=\"cell\"").count();
    assert_eq!(page.matches("<td").count(), cells);
    assert!(page.matches(" data-label=\"").count() >= cells);
}
