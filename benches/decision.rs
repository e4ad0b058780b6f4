//! A whole decision: host, site, rule, scheme, redirect.

mod rules;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::dispatch::{Question, Scheme};

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for count in [10, 150, 5000] {
        let sites = rules::sites(count);
        let targets = rules::targets(count);
        let question = |target: &'static [u8]| Question {
            scheme: Scheme::Http,
            handshake: None,
            authority: b"example.com",
            method: b"GET",
            target,
        };
        let questions: Vec<Question<'_>> =
            targets.into_iter().map(|target| question(target.into_bytes().leak())).collect();
        group.bench_function(format!("{count} rules, 16 targets in turn"), |bencher| {
            let mut turn = 0;
            bencher.iter(|| {
                black_box(sites.decide(black_box(&questions[turn])));
                // No division in what is timed.
                turn = if turn + 1 == questions.len() { 0 } else { turn + 1 };
            });
        });
        if count == 150 {
            for question in &questions {
                let name = format!("150 rules, {}", String::from_utf8_lossy(question.target));
                group.bench_function(name, |bencher| {
                    bencher.iter(|| {
                        black_box(sites.decide(black_box(question)));
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
