use tokio::sync::{mpsc, oneshot};

use super::*;

#[tokio::test]
async fn the_floor_below_ends_when_the_last_task_above_has() {
    let floors = Floors::default();
    let (below, above) = (floors.add("below"), floors.add("above"));
    let (told, mut heard) = mpsc::channel(4);
    let (last_words, spoken) = oneshot::channel();
    let tell = told.clone();
    let stop = below.stop().clone();
    below.spawn(async move {
        stop.cancelled().await;
        tell.send("below").await.unwrap();
    });
    let (tell, stop) = (told, above.stop().clone());
    let down = below.stop().clone();
    above.spawn(async move {
        stop.cancelled().await;
        spoken.await.unwrap();
        assert!(!down.is_cancelled(), "the floor below still stands");
        tell.send("above").await.unwrap();
    });

    let ending = tokio::spawn(async move { floors.end().await });
    above.stop().cancelled().await;
    assert!(!below.stop().is_cancelled());
    last_words.send(()).unwrap();
    assert_eq!(heard.recv().await, Some("above"));
    assert_eq!(heard.recv().await, Some("below"));
    ending.await.unwrap();
    assert_eq!(heard.recv().await, None);
}

#[tokio::test]
async fn what_a_task_starts_at_its_end_is_waited_for_too() {
    let floor = Floor::new("floor");
    let (told, mut heard) = mpsc::channel(4);
    let inner = floor.clone();
    floor.spawn(async move {
        inner.stop().cancelled().await;
        inner.spawn(async move {
            tokio::task::yield_now().await;
            told.send(()).await.unwrap();
        });
    });
    floor.end().await;
    assert_eq!(heard.try_recv(), Ok(()));
    floor.spawn(async { panic!("a floor that has ended runs nothing") });
    floor.end().await;
}
