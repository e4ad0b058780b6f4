//! Finding the rule of a target, with few and many rules.

mod rules;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::dispatch::SiteId;

fn matcher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matcher");
    for count in [10, 150, 5000] {
        let sites = rules::sites(count);
        let targets = rules::targets(count);
        // Rules take turns, as requests do: what one leaves in the caches and the branch
        // predictor is not what the next one needs.
        group.bench_function(format!("{count} rules, 16 targets in turn"), |bencher| {
            let mut turn = 0;
            bencher.iter(|| {
                turn = (turn + 1) % targets.len();
                sites.matches(SiteId(0), black_box(targets[turn].as_bytes()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, matcher);
criterion_main!(benches);
