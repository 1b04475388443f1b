/** Keeps one part's failure to that part: a state of an unknown shape must not take the page along. */

import { Component, type ComponentChildren } from "preact";

export class Guard extends Component<{ children: ComponentChildren }, { broken: boolean }> {
  override state = { broken: false };

  override componentDidCatch(error: unknown): void {
    console.warn("a part of the page was left out", error);
    this.setState({ broken: true });
  }

  override render() {
    return this.state.broken ? null : this.props.children;
  }
}
