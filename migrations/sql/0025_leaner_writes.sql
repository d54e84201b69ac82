-- What an order waits for, leaner: `executor_write` and what it calls do the same as before with
-- fewer statements and expressions, each of which PL/pgSQL sets up anew in every transaction.

-- SQL, so that the planner puts these in the place of their calls. The columns in their order.
CREATE OR REPLACE FUNCTION ledger_line(
    id uuid, debit uuid, credit uuid, ledger text, amount numeric, kind text, pending uuid,
    code text, order_id uuid, trade_id uuid, correlation_id uuid, ts timestamptz
) RETURNS ledger_transfers LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(
        NULL::bigint, id, debit, credit, ledger, amount, kind, pending, code, order_id, trade_id,
        correlation_id, ts)::ledger_transfers
$$;

CREATE OR REPLACE FUNCTION executor_envelope(
    message_id uuid, kind text, topic text, ts text, correlation_id uuid, causation_id uuid,
    payload json
) RETURNS outbox LANGUAGE sql STABLE AS $$
    SELECT ROW(
        NULL::bigint, message_id, 'trade_executor'::text, topic, 'log:' || topic,
        convert_to(json_build_object(
            'id', message_id, 'type', kind, 'version', 1, 'ts', ts, 'source', 'trade_executor',
            'correlation_id', correlation_id, 'causation_id', causation_id, 'payload', payload
        )::text, 'UTF8'),
        NULL::timestamptz, NULL::timestamptz, NULL::text, NULL::text, NULL::timestamptz)::outbox
$$;

-- As in 0009, which says what an entry is. The lines of the ledger go in without a call of
-- executor_add_lines, but where an overdraft may have to be lifted; messages are gathered as they
-- are made.
CREATE OR REPLACE FUNCTION executor_write(batch jsonb, lift boolean DEFAULT false) RETURNS jsonb
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    e jsonb;
    step jsonb;
    seq integer;
    o orders;
    heir orders;
    ev order_events;
    p portfolio_positions;
    t trades;
    msg outbox;
    accounts jsonb;
    at timestamptz;
    amount numeric;
    held_leg numeric;
    posted numeric;
    rest numeric;
    before numeric;
    complete boolean;
    odd text;
    from_status text;
    debit uuid;
    credit uuid;
    held_ledger text;
    other_ledger text;
    leg uuid[];
    lifted text[] := '{}';
    events order_events[] := '{}';
    outs outbox[] := '{}';
    lines ledger_transfers[] := '{}';
    answers jsonb[] := '{}';
    answer jsonb;
    answers_last integer;
    told jsonb[] := '{}';
    within boolean;
    done executor_step;
    replaced uuid;
    replaced_entry integer;
BEGIN
    FOR e, within IN
        SELECT x.entry, x.within
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS b(value, n)
        CROSS JOIN LATERAL (VALUES (b.value, false), (b.value->'then', true)) AS x(entry, within)
        WHERE jsonb_typeof(x.entry) = 'object' ORDER BY b.n, x.within
    LOOP
        IF within AND done.answer->>'outcome' = 'duplicate' THEN
            CONTINUE;
        END IF;
        IF NOT within THEN
            replaced := NULL;
        END IF;
        at := (e->>'at')::timestamptz;
        accounts := e->'accounts';

        IF e->>'kind' = 'create' THEN
            o := jsonb_populate_record(NULL::orders, e->'order');
            o.event_seq := jsonb_array_length(e->'events');
            INSERT INTO orders VALUES (o.*) ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                SELECT * INTO o FROM orders
                WHERE id = o.id
                   OR (broker = o.broker AND broker_order_id = o.broker_order_id)
                   OR client_order_id = o.client_order_id
                ORDER BY id = o.id DESC LIMIT 1;
                answers := answers || jsonb_build_object(
                    'outcome', 'exists', 'order', executor_standing(o));
                CONTINUE;
            END IF;
            IF e->'hold' <> 'null'::jsonb THEN
                lines := lines || ledger_line(
                    o.hold_id, (e->'hold'->>'debit')::uuid, (e->'hold'->>'credit')::uuid,
                    e->'hold'->>'ledger', o.hold_amount, 'pending', NULL, 'hold', o.id, NULL,
                    o.correlation_id, at);
            END IF;
            FOR step, seq IN
                SELECT value, ordinality FROM jsonb_array_elements(e->'events') WITH ORDINALITY
            LOOP
                ev := (o.id, seq, step->>'event', step->>'from', step->>'to',
                       step->>'reason', NULL, at)::order_events;
                events := events || ev;
                outs := outs || executor_envelope(
                    (step->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                    o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            END LOOP;
            answers := answers || jsonb_build_object(
                'outcome', 'created', 'order', executor_standing(o));

        ELSIF e->>'kind' = 'move' THEN
            SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'order % is not there', e->>'order_id';
            END IF;
            IF o.status <> e->>'expect' THEN
                answers := answers || jsonb_build_object(
                    'outcome', 'conflict', 'order', executor_standing(o));
                CONTINUE;
            END IF;
            from_status := o.status;
            o.status := e->>'to';
            IF (e->>'release')::boolean AND o.hold_id IS NOT NULL THEN
                lines := lines || executor_release(o, accounts, (e->>'release_id')::uuid, at);
                o.hold_id := NULL;
                o.hold_amount := NULL;
            END IF;
            UPDATE orders SET
                status = o.status,
                hold_id = o.hold_id,
                hold_amount = o.hold_amount,
                event_seq = orders.event_seq + 1,
                updated_at = at,
                broker_order_id = coalesce(e->>'broker_order_id', orders.broker_order_id),
                client_order_id = coalesce(e->>'client_order_id', orders.client_order_id),
                attempt = coalesce((e->>'attempt')::integer, orders.attempt),
                parent_id = coalesce((e->>'parent_id')::uuid, orders.parent_id),
                external = coalesce((e->>'external')::boolean, orders.external),
                strategy_id = coalesce(e->>'strategy_id', orders.strategy_id),
                submitted_at = coalesce((e->>'submitted_at')::timestamptz, orders.submitted_at),
                anomaly = coalesce(e->>'anomaly', orders.anomaly),
                reject_reason = coalesce(e->>'reject_reason', orders.reject_reason)
            WHERE id = o.id RETURNING * INTO o;
            ev := (o.id, o.event_seq, e->>'event', from_status, o.status, e->>'reason',
                   e->'payload', at)::order_events;
            events := events || ev;
            outs := outs || executor_envelope(
                (e->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            answer := jsonb_build_object('outcome', 'moved', 'order', executor_standing(o));
            IF jsonb_typeof(e->'heir') = 'object' THEN
                step := e->'heir';
                SELECT * INTO heir FROM orders WHERE id = (step->>'id')::uuid FOR UPDATE;
                IF heir.status NOT IN
                    ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                    IF heir.hold_id IS NOT NULL THEN
                        lines := lines || executor_release(
                            heir, step->'accounts', (step->>'release_id')::uuid, at);
                    END IF;
                    heir.hold_id := NULL;
                    heir.hold_amount := NULL;
                    IF step->'hold' <> 'null'::jsonb THEN
                        heir.hold_id := (step->'hold'->>'id')::uuid;
                        heir.hold_amount := (step->'hold'->>'amount')::numeric;
                        lines := lines || ledger_line(
                            heir.hold_id, (step->'hold'->>'debit')::uuid,
                            (step->'hold'->>'credit')::uuid, step->'hold'->>'ledger',
                            heir.hold_amount, 'pending', NULL, 'hold', heir.id, NULL,
                            heir.correlation_id, at);
                    END IF;
                    UPDATE orders SET
                        hold_id = heir.hold_id, hold_amount = heir.hold_amount,
                        quantity = (step->>'quantity')::numeric,
                        event_seq = orders.event_seq + 1, updated_at = at
                    WHERE id = heir.id RETURNING * INTO heir;
                    ev := (heir.id, heir.event_seq, 'takes_over', heir.status, heir.status,
                           'in the place of ' || o.id::text, NULL, at)::order_events;
                    events := events || ev;
                    outs := outs || executor_envelope(
                        (step->>'message_id')::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                        heir.correlation_id, (e->>'message_id')::uuid,
                        executor_order_event(heir, ev));
                    answer := answer || jsonb_build_object('heir', executor_standing(heir));
                END IF;
            END IF;
            answers := answers || answer;

        ELSIF e->>'kind' = 'book' THEN
            SELECT * INTO o FROM orders WHERE id = (e->>'order_id')::uuid FOR UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'order % is not there', e->>'order_id';
            END IF;
            t.broker := e->>'broker';
            t.execution_id := e->>'execution_id';
            -- What the venue took back before it was booked here is not booked any more.
            IF EXISTS (SELECT 1 FROM trades x
                       WHERE x.broker = t.broker AND x.execution_id = t.execution_id)
               OR EXISTS (SELECT 1 FROM trade_reversals x
                          WHERE x.broker = t.broker AND x.execution_id = t.execution_id) THEN
                IF NOT within THEN
                    answers := answers || jsonb_build_object(
                        'outcome', 'duplicate', 'order', executor_standing(o));
                END IF;
                CONTINUE;
            END IF;
            t.id := (e->>'trade_id')::uuid;
            t.order_id := o.id;
            t.account_id := o.account_id;
            t.symbol := o.symbol;
            t.side := e->>'side';
            t.quantity := (e->>'quantity')::numeric;
            t.executed_price := (e->>'price')::numeric;
            t.commission := (e->>'commission')::numeric;
            t.fees := (e->>'fees')::numeric;
            t.executed_at := (e->>'executed_at')::timestamptz;
            t.venue := e->>'venue';
            t.liquidity := e->>'liquidity';
            t.strategy_id := o.strategy_id;
            t.signal_id := o.signal_id;
            t.correlation_id := o.correlation_id;
            t.booked_at := at;
            t.realized_pnl := 0;
            amount := half_even(t.quantity * t.executed_price, 4);

            -- Position: average cost. A replacement stands where the execution stood that it
            -- replaces; all else comes last.
            SELECT * INTO p FROM portfolio_positions
            WHERE account_id = o.account_id AND symbol = o.symbol FOR UPDATE;
            IF NOT FOUND THEN
                p := (o.account_id, o.symbol, 0, 0, 0, at, 0)::portfolio_positions;
            END IF;
            before := p.realized_pnl;
            t.replaces := replaced;
            IF replaced IS NULL THEN
                p.last_entry := p.last_entry + 1;
                t.entry := p.last_entry;
                p := position_fill(p, t.side, t.quantity, t.executed_price);
            ELSE
                t.entry := replaced_entry;
                p := position_replay(p, NULL, t, NULL);
            END IF;
            t.realized_pnl := p.realized_pnl - before;
            INSERT INTO portfolio_positions VALUES (
                p.account_id, p.symbol, p.quantity, p.avg_cost, p.realized_pnl, at, p.last_entry)
            ON CONFLICT (account_id, symbol) DO UPDATE SET
                quantity = excluded.quantity, avg_cost = excluded.avg_cost,
                realized_pnl = excluded.realized_pnl, updated_at = excluded.updated_at,
                last_entry = excluded.last_entry;
            INSERT INTO trades VALUES (t.*);

            -- Order: executions.take and the state table's columns partly_filled and filled.
            from_status := o.status;
            o.filled_quantity := o.filled_quantity + t.quantity;
            o.filled_value := o.filled_value + amount;
            complete := o.quantity IS NOT NULL AND o.filled_quantity >= o.quantity;
            odd := NULL;
            IF from_status IN
                ('created', 'denied', 'canceled', 'expired', 'rejected', 'replaced') THEN
                odd := 'execution_after_end';
            END IF;
            IF o.quantity IS NOT NULL AND o.filled_quantity > o.quantity THEN
                odd := 'overfill';
            END IF;
            IF complete THEN
                o.status := 'filled';
            ELSIF from_status NOT IN ('partially_filled', 'pending_cancel', 'pending_replace',
                                      'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                o.status := 'partially_filled';
            END IF;

            -- Ledger: booking.fill_group.
            leg := ARRAY[
                (e->'legs'->>0)::uuid, (e->'legs'->>1)::uuid, (e->'legs'->>2)::uuid,
                (e->'legs'->>3)::uuid, (e->'legs'->>4)::uuid];
            IF t.side = 'buy' THEN
                debit := (accounts->>'cash')::uuid;
                credit := (accounts->>'market_cash')::uuid;
                held_ledger := accounts->>'currency';
                other_ledger := t.symbol;
                held_leg := amount;
            ELSE
                debit := (accounts->>'position')::uuid;
                credit := (accounts->>'market_position')::uuid;
                held_ledger := t.symbol;
                other_ledger := accounts->>'currency';
                held_leg := t.quantity;
            END IF;
            posted := CASE WHEN o.hold_id IS NULL THEN 0 ELSE least(held_leg, o.hold_amount) END;
            rest := NULL;
            IF posted > 0 THEN
                lines := lines || ledger_line(
                    leg[1], debit, credit, held_ledger, posted, 'post', o.hold_id,
                    CASE t.side WHEN 'buy' THEN 'cash' ELSE 'instrument' END,
                    o.id, t.id, o.correlation_id, at);
                rest := o.hold_amount - posted;
                o.hold_id := NULL;
                o.hold_amount := NULL;
            ELSIF o.hold_id IS NOT NULL AND o.status IN
                ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                lines := lines || executor_release(o, accounts, leg[5], at);
                o.hold_id := NULL;
                o.hold_amount := NULL;
            END IF;
            IF held_leg > posted THEN
                lines := lines || ledger_line(
                    leg[2], debit, credit, held_ledger, held_leg - posted, 'direct', NULL,
                    CASE t.side WHEN 'buy' THEN 'cash' ELSE 'instrument' END,
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF t.side = 'buy' THEN
                lines := lines || ledger_line(
                    leg[3], (accounts->>'market_position')::uuid, (accounts->>'position')::uuid,
                    other_ledger, t.quantity, 'direct', NULL, 'instrument',
                    o.id, t.id, o.correlation_id, at);
            ELSIF amount > 0 THEN
                lines := lines || ledger_line(
                    leg[3], (accounts->>'market_cash')::uuid, (accounts->>'cash')::uuid,
                    other_ledger, amount, 'direct', NULL, 'cash',
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF t.commission + t.fees > 0 THEN
                lines := lines || ledger_line(
                    leg[4], (accounts->>'cash')::uuid, (accounts->>'fees')::uuid,
                    accounts->>'currency', t.commission + t.fees, 'direct', NULL, 'fee',
                    o.id, t.id, o.correlation_id, at);
            END IF;
            IF rest > 0 AND o.status NOT IN
                ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced') THEN
                lines := lines || ledger_line(
                    leg[5], debit, credit, held_ledger, rest, 'pending', NULL, 'hold',
                    o.id, t.id, o.correlation_id, at);
                o.hold_id := leg[5];
                o.hold_amount := rest;
            END IF;

            UPDATE orders SET
                status = o.status, filled_quantity = o.filled_quantity,
                filled_value = o.filled_value, anomaly = coalesce(odd, orders.anomaly),
                hold_id = o.hold_id, hold_amount = o.hold_amount,
                -- An execution may be heard of before the answer that names the order's id there.
                broker_order_id = coalesce(orders.broker_order_id, (
                    SELECT e->>'broker_order_id' WHERE NOT EXISTS (
                        SELECT 1 FROM orders x WHERE x.broker = orders.broker
                        AND x.broker_order_id = e->>'broker_order_id'))),
                submitted_at = coalesce(orders.submitted_at, at),
                event_seq = orders.event_seq + 1, updated_at = at
            WHERE id = o.id RETURNING * INTO o;
            ev := (o.id, o.event_seq,
                   CASE WHEN complete THEN 'filled' ELSE 'partly_filled' END,
                   from_status, o.status, odd, e->'payload', at)::order_events;
            events := events || ev;
            outs := outs || executor_envelope(
                (e->'message_ids'->>0)::uuid, 'OrderEvent', 'orders.events', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, executor_order_event(o, ev));
            outs := outs || executor_envelope(
                (e->'message_ids'->>1)::uuid, 'Trade', 'trades.executed', e->>'ts',
                o.correlation_id, (e->>'causation_id')::uuid, json_build_object(
                    'trade_id', t.id, 'order_id', o.id, 'account_id', o.account_id,
                    'broker', t.broker, 'execution_id', t.execution_id, 'symbol', t.symbol,
                    'side', t.side, 'quantity', trim_scale(t.quantity)::text,
                    'price', trim_scale(t.executed_price)::text,
                    'commission', trim_scale(t.commission)::text,
                    'fees', trim_scale(t.fees)::text, 'executed_at', rfc3339(t.executed_at),
                    'realized_pnl', trim_scale(t.realized_pnl)::text,
                    'position_quantity', trim_scale(p.quantity)::text,
                    'position_avg_cost', trim_scale(p.avg_cost)::text,
                    'strategy_id', t.strategy_id, 'signal_id', t.signal_id));
            answer := jsonb_build_object(
                'outcome', 'booked', 'anomaly', odd, 'order', executor_standing(o),
                'realized_pnl', trim_scale(t.realized_pnl)::text,
                'position_quantity', trim_scale(p.quantity)::text,
                'position_avg_cost', trim_scale(p.avg_cost)::text);
            IF within THEN
                -- The order as it stands after both.
                answers_last := cardinality(answers);
                answers[answers_last] := answers[answers_last]
                    || jsonb_build_object('then', answer, 'order', answer->'order');
            ELSE
                answers := answers || answer;
            END IF;

        ELSIF e->>'kind' IN ('reverse', 'activity', 'restate') THEN
            done := CASE e->>'kind' WHEN 'reverse' THEN executor_reverse(e, lines)
                                    WHEN 'activity' THEN executor_activity(e)
                                    ELSE executor_restate(e) END;
            answers := answers || done.answer;
            events := events || done.events;
            outs := outs || done.outs;
            lines := lines || done.lines;
            replaced := done.trade;
            replaced_entry := done.entry;
        ELSE
            RAISE EXCEPTION 'unknown entry kind %', e->>'kind';
        END IF;
    END LOOP;

    INSERT INTO order_events SELECT x.* FROM unnest(events) x;
    IF lift THEN
        BEGIN
            PERFORM executor_add_lines(lines);
        EXCEPTION WHEN check_violation THEN
            WITH fallen AS (
                UPDATE ledger_accounts a SET no_overdraft = false
                FROM (SELECT DISTINCT x.debit_account AS id FROM unnest(lines) x) d
                WHERE a.id = d.id AND a.no_overdraft RETURNING a.owner, a.ledger)
            SELECT array_agg(owner || ' ' || ledger) INTO lifted FROM fallen;
            PERFORM executor_add_lines(lines);
        END;
    ELSIF cardinality(lines) > 0 THEN
        INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount, kind,
                                      pending_id, code, order_id, trade_id, correlation_id, ts)
        SELECT x.id, x.debit_account, x.credit_account, x.ledger, x.amount, x.kind,
               x.pending_id, x.code, x.order_id, x.trade_id, x.correlation_id, x.ts
        FROM unnest(lines) x;
    END IF;
    INSERT INTO outbox (id, source, channel, stream, message)
    SELECT x.id, x.source, x.channel, x.stream, x.message FROM unnest(outs) x;

    FOREACH msg IN ARRAY outs LOOP
        told := told || jsonb_build_object(
            'id', msg.id, 'channel', msg.channel, 'stream', msg.stream,
            'data', convert_from(msg.message, 'UTF8'));
    END LOOP;
    RETURN jsonb_build_object(
        'answers', to_jsonb(answers),
        'lifted', to_jsonb(lifted),
        'messages', to_jsonb(told));
END $$;
