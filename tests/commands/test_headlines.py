from kurve.commands.headlines import headlines


def with_interval(key: str, value: float) -> dict[str, float]:
    return {key: value, f"{key}_low": value - 0.1, f"{key}_high": value + 0.1}


def test_a_report_of_counts_alone_has_no_lines() -> None:
    assert list(headlines({"pass_at_1": 0.5, "num_samples": 8.0})) == []


def test_every_kind_of_measurement_has_a_line_in_order_of_k() -> None:
    scalars = {
        **with_interval("maj_at_256", 0.5),
        **with_interval("maj_at_64", 0.4),
        **with_interval("best_of_256_by_mean_logprob", 0.3),
        **with_interval("answer_entropy", 1.25),
        "distinct_answers": 7.0,
        "effective_answers": 3.5,
        "num_possible_answers": 1000.0,
        "chance_pass_at_256": 0.226,
        **with_interval("chance_adjusted_pass_at_256", 0.2),
        "support_threshold": 0.01163,
        "num_samples": 256.0,
        **with_interval("extrapolated_pass_at_4096_power_law", 0.8),
        **with_interval("extrapolated_pass_at_512_beta_binomial", 0.7),
    }
    assert list(headlines(scalars)) == [
        "one answer of k: maj@64 40.0% [30.0%, 50.0%], maj@256 50.0% [40.0%, 60.0%], "
        "likeliest of 256 30.0% [20.0%, 40.0%]",
        "answers a problem: 7.0 different, as varied as 3.5 equally likely ones (entropy 1.25 [1.15, 1.35] nats)",
        "guessing among 1,000 answers: pass@256 22.6% (adjusted for it 20.0%)",
        "unsolved at n = 256 means p < 1.2 % with 95 % confidence",
        "extrapolated pass@512: beta-binomial 70.0% [60.0%, 80.0%]",
        "extrapolated pass@4,096: power law 80.0% [70.0%, 90.0%]",
    ]


def test_a_single_problem_has_numbers_without_an_interval() -> None:
    [line] = headlines({"answer_entropy": 0.0, "distinct_answers": 1.0, "effective_answers": 1.0})
    assert line.endswith("(entropy 0.00 nats)")
