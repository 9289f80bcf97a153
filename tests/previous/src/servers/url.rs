//! URLs that name several servers, as libpq has them: `postgres://user:password@one:5432,two/base`.
//! Pure.

/// The most servers of one database.
pub(super) const SERVERS_MAX: usize = 8;
/// The parameter by which libpq is told which server to look for.
const ATTRIBUTES: &str = "target_session_attrs";

/// One URL a server, each with the user, the database and the parameters of all.
///
/// # Errors
/// What is wrong, in words that show nothing of the URL: it holds a password.
pub(super) fn split(url: &str) -> Result<Vec<String>, String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err(NO_URL.to_owned()) };
    if !["postgres", "postgresql"].contains(&scheme) {
        return Err(NO_URL.to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, servers) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let servers: Vec<&str> = servers.split(',').collect();
    if servers.len() > SERVERS_MAX {
        return Err(format!("must name at most {SERVERS_MAX} servers, not {}", servers.len()));
    }
    if servers.len() > 1 && servers.contains(&"") {
        return Err("has an empty name among its servers".to_owned());
    }
    let tail = without_attributes(tail)?;
    Ok(servers.iter().map(|server| format!("{scheme}://{user}{server}{tail}")).collect())
}

const NO_URL: &str = "must be a URL: postgres://user:password@host:5432/database, of several servers \
                      postgres://user:password@one:5432,two:5432/database";

/// The server that takes writes is looked for in any case.
fn without_attributes(tail: &str) -> Result<String, String> {
    let Some((path, query)) = tail.split_once('?') else { return Ok(tail.to_owned()) };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((ATTRIBUTES, "read-write" | "primary" | "any")) => {}
            Some((ATTRIBUTES, _)) => {
                return Err(format!("{ATTRIBUTES} must be read-write, or left out"));
            }
            _ => kept.push(pair),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(format!("{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_what_is_said_of_all() {
        let cases: &[(&str, &[&str])] = &[
            ("postgres://u:p@a/d", &["postgres://u:p@a/d"]),
            ("postgresql://a:1,b", &["postgresql://a:1", "postgresql://b"]),
            (
                "postgres://u:p,@a:1,[::1]:2,c/d?sslmode=disable",
                &[
                    "postgres://u:p,@a:1/d?sslmode=disable",
                    "postgres://u:p,@[::1]:2/d?sslmode=disable",
                    "postgres://u:p,@c/d?sslmode=disable",
                ],
            ),
            (
                "postgres://a,b/d?target_session_attrs=read-write",
                &["postgres://a/d", "postgres://b/d"],
            ),
            ("postgres://a/d?x=1&target_session_attrs=primary&y=2", &["postgres://a/d?x=1&y=2"]),
            ("postgres:///d?host=/run/pg", &["postgres:///d?host=/run/pg"]),
        ];
        for (url, expected) in cases {
            assert_eq!(split(url).expect(url), *expected, "{url}");
        }
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        let many = ["h"; SERVERS_MAX + 1].join(",");
        let cases = [
            ("host=a user=hunter2", "must be a URL"),
            ("mysql://u:hunter2@a/d", "must be a URL"),
            ("postgres://u:hunter2@a,,b/d", "empty name"),
            ("postgres://u:hunter2@a,/d", "empty name"),
            ("postgres://u:hunter2@a/d?target_session_attrs=standby", "must be read-write"),
            (&format!("postgres://u:hunter2@{many}/d"), "at most 8 servers, not 9"),
        ];
        for (url, words) in cases {
            let problem = split(url).expect_err(url);
            assert!(problem.contains(words) && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
